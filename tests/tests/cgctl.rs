//! Tests of `cgctl`.
