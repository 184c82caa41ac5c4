//! A pipeline as its user writes it (`spec`) and as the engine runs it (`plan`).
