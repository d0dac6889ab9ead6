//! Formats that no encoder on this machine sends.
