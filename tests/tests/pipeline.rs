//! The pipeline as a whole: the original article's experiments, and the five tools against gocker-sh.
