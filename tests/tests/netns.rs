//! Tests of `netns`.
