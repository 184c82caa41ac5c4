//! Plain values that a user sets: durations, sizes, the pipeline file and its errors with carets.
