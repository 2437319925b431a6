#[trapline::test]
fn not_async() {}

#[trapline::test]
async fn arguments(number: u32) {}

#[trapline::test]
async fn generics<const N: usize>() {}

#[trapline::test]
#[test]
async fn twice_a_test() {}

fn main() {}
