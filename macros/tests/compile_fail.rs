//! Wrong use of a macro is told at the word that is wrong.
//!
//! This stands here and not beside the other tests since what is compiled brings the package's
//! development dependencies with it: here there are none to speak of. After a change to a text, run it
//! once with `TRYBUILD=overwrite`, and read the difference.

#[test]
fn wrong_use_of_a_macro_then_a_plain_error_at_the_place() {
    trybuild::TestCases::new().compile_fail("../tests/compile_fail/*.rs");
}
