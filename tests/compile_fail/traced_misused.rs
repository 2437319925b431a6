#[trapline::traced]
fn not_async() {}

#[trapline::traced(name = "x")]
async fn with_options() {}

#[trapline::traced]
async unsafe fn not_safe() {}

#[trapline::traced]
async extern "C" fn of_another_language() {}

#[trapline::traced]
async fn never() -> ! {
    std::future::pending().await
}

#[trapline::traced]
const fn constant() {}

#[trapline::traced]
struct NoFunction;

trait Serve {
    #[trapline::traced]
    async fn serve(&self);
}

#[trapline::traced]
async fn wrong_body() -> u8 {
    "no number"
}

#[trapline::traced]
#[trapline::test]
async fn also_a_test() {}

fn main() {}
