//! Tests of `pull`.
