//! The form of a `select!`.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Pat, Token};

mod keyword {
    syn::custom_keyword!(biased);
}

const FORM: &str = "a branch is `pattern = future => expression`";

pub(crate) struct Select {
    pub(crate) biased: bool,
    pub(crate) branches: Vec<Branch>,
    pub(crate) otherwise: Option<Expr>,
}

/// `pattern = future, if guard => arm`
pub(crate) struct Branch {
    pub(crate) pattern: Pat,
    pub(crate) future: Expr,
    pub(crate) guard: Option<Expr>,
    pub(crate) arm: Expr,
}

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> syn::Result<Select> {
        let biased = input.peek(keyword::biased) && input.peek2(Token![;]);
        if biased {
            input.parse::<keyword::biased>()?;
            input.parse::<Token![;]>()?;
        }
        let mut select = Select { biased, branches: Vec::new(), otherwise: None };
        while !input.is_empty() {
            if input.peek(Token![else]) {
                select.otherwise = Some(parse_else(input)?);
                break;
            }
            select.branches.push(input.parse()?);
        }
        if select.branches.is_empty() {
            let text = format!("there is nothing to select from: {FORM}");
            return Err(Error::new(Span::call_site(), text));
        }
        Ok(select)
    }
}

impl Parse for Branch {
    fn parse(input: ParseStream<'_>) -> syn::Result<Branch> {
        if input.peek(keyword::biased) && input.peek2(Token![;]) {
            return Err(input.error("`biased;` comes before the branches"));
        }
        let pattern = Pat::parse_multi_with_leading_vert(&input.fork())
            .and_then(|_| Pat::parse_multi_with_leading_vert(input))
            .map_err(|_| input.error(format!("expected a pattern: {FORM}")))?;
        if !input.peek(Token![=]) || input.peek(Token![=>]) {
            return Err(input.error(format!("expected `=`: {FORM}")));
        }
        input.parse::<Token![=]>()?;
        let future = input.parse()?;
        if input.peek(Token![if]) {
            return Err(
                input.error("a guard comes after a comma: `pattern = future, if guard => …`")
            );
        }
        let guard = if input.peek(Token![,]) && input.peek2(Token![if]) {
            input.parse::<Token![,]>()?;
            input.parse::<Token![if]>()?;
            Some(input.parse()?)
        } else {
            None
        };
        Ok(Branch { pattern, future, guard, arm: parse_arm(input)? })
    }
}

fn parse_else(input: ParseStream<'_>) -> syn::Result<Expr> {
    input.parse::<Token![else]>()?;
    let arm = parse_arm(input)?;
    if input.is_empty() { Ok(arm) } else { Err(input.error("`else` comes last")) }
}

/// `=> expression`, and the comma, which may be left out where it may be after the arm of a `match`.
fn parse_arm(input: ParseStream<'_>) -> syn::Result<Expr> {
    input.parse::<Token![=>]>()?;
    let arm = Expr::parse_with_earlier_boundary_rule(input)?;
    let is_block = matches!(
        arm,
        Expr::Block(_)
            | Expr::Unsafe(_)
            | Expr::If(_)
            | Expr::Match(_)
            | Expr::Loop(_)
            | Expr::While(_)
            | Expr::ForLoop(_)
    );
    if !input.is_empty() && (input.peek(Token![,]) || !is_block) {
        input.parse::<Token![,]>()?;
    }
    Ok(arm)
}
