//! Watermarks: per split with bounded out-of-orderness, moved in ticks, merged by minimum. (Written next.)
