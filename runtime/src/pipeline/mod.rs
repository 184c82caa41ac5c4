//! A running pipeline: service and handle, checkpointer, snapshot store, status.
