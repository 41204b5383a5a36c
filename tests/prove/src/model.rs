//! The model check: every schedule of faults, within bounds, of two or three real machines.
