//! Under way.
#![allow(dead_code, unreachable_pub)]
