async fn forms() {
    trapline::join!();
    trapline::try_join!();
    trapline::join!(async {}; async {});
}

fn main() {}
