//! Tests of `mount-overlay`.
