#[trapline::test(quantun = 1)]
async fn unknown() {}

#[trapline::test(seed = 1, quantum = 2, seed = 3)]
async fn repeated() {}

#[trapline::test(quantum = "one")]
async fn text_for_a_number() {}

#[trapline::test(quantum = 5_000_000_000)]
async fn number_too_large() {}

#[trapline::test(seed = -1)]
async fn negative_number() {}

#[trapline::test(clock = virtual_clock)]
async fn word_for_a_text() {}

#[trapline::test(clock = "sundial")]
async fn unknown_clock() {}

#[trapline::test(seed)]
async fn no_value() {}

#[trapline::test(seed = 1 quantum = 2)]
async fn no_comma() {}

fn main() {}
