//! What users type and read: `tests/cmd/*.md`. `TRYCMD=overwrite cargo test -p gander-cli --test cli` renews them.

#[test]
fn commands_print_what_the_pages_show() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("tests/cmd/*.md");
}
