//! Tests of `nsrun`.
