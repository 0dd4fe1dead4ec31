//! Which sync of a recorded run is which: told by what was written before it and what comes after.
