mod not_async {
    #[trapline::main]
    fn program() {}
}

mod arguments {
    #[trapline::main]
    async fn program(arguments: Vec<String>) {}
}

mod generics {
    #[trapline::main]
    async fn program<T: Default>() -> T {
        T::default()
    }
}

#[trapline::main]
struct NoFunction;

fn main() {}
