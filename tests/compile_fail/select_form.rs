async fn forms() {
    trapline::select! {};
    trapline::select! { else => 1 };
    trapline::select! { async { 1 } => 1 };
    trapline::select! { x => 1 };
    trapline::select! { x = async { 1 } };
    trapline::select! { x = async { 1 } => x, biased; y = async { 2 } => y };
    trapline::select! { x = async { 1 } => x, else => 1, y = async { 2 } => y };
    trapline::select! { x = async { 1 } => x y = async { 2 } => y };
    trapline::select! { x = async { 1 } if true => x };
}

fn main() {}
