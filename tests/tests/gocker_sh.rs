//! Tests of `gocker-sh`.
