//! The contract that every stage keeps: numbers cite the sentences of stage/README.md.
