//! Each limit, from outside, while a show runs on the same listener.
