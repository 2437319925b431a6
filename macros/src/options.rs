//! The options of `main` and `test`.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, Ident, Lit, LitInt, Token};

const KNOWN: &str = "`quantum`, `batch`, `seed`, `clock`, `stall_seconds`";

/// What stands in the parentheses, checked.
#[derive(Default)]
pub(crate) struct Options {
    quantum: Option<LitInt>,
    batch: Option<LitInt>,
    seed: Option<LitInt>,
    stall_seconds: Option<LitInt>,
    virtual_clock: Option<bool>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Options> {
        let mut options = Options::default();
        while !input.is_empty() {
            options.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let name: Ident = input.parse()?;
        let text = name.to_string();
        if !["quantum", "batch", "seed", "clock", "stall_seconds"].contains(&text.as_str()) {
            let text = format!("there is no option `{text}`; there are {KNOWN}");
            return Err(Error::new(name.span(), text));
        }
        input.parse::<Token![=]>()?;
        let value: Expr = input.parse()?;
        let repeated = match text.as_str() {
            "quantum" => self.quantum.replace(number::<u32>(&name, value)?).is_some(),
            "batch" => self.batch.replace(number::<u32>(&name, value)?).is_some(),
            "seed" => self.seed.replace(number::<u64>(&name, value)?).is_some(),
            "stall_seconds" => self.stall_seconds.replace(number::<u64>(&name, value)?).is_some(),
            _ => self.virtual_clock.replace(is_virtual(value)?).is_some(),
        };
        if repeated {
            return Err(Error::new(name.span(), format!("the option `{text}` is said twice")));
        }
        Ok(())
    }

    /// The builder of the scheduler of a program.
    pub(crate) fn builder_of_main(&self) -> TokenStream {
        let stall = self.stall_seconds.as_ref().map(stall_limit);
        self.builder(stall, false)
    }

    /// That of a test: a virtual clock, and an end to every wait for others.
    pub(crate) fn builder_of_test(&self) -> TokenStream {
        let one = || stall_limit(&Literal::u64_unsuffixed(1));
        let stall = self.stall_seconds.as_ref().map_or_else(one, stall_limit);
        self.builder(Some(stall), true)
    }

    fn builder(&self, stall: Option<TokenStream>, clock_is_virtual: bool) -> TokenStream {
        let clock_is_virtual = self.virtual_clock.unwrap_or(clock_is_virtual);
        let clock = clock_is_virtual.then(|| quote!(.virtual_clock()));
        let quantum = self.quantum.as_ref().map(|steps| quote!(.quantum(#steps)));
        let batch = self.batch.as_ref().map(|dispatches| quote!(.batch(#dispatches)));
        let seed = self.seed.as_ref().map(|seed| quote!(.seed(#seed)));
        quote!(::trapline::Scheduler::builder() #stall #clock #quantum #batch #seed)
    }
}

fn stall_limit(seconds: &impl ToTokens) -> TokenStream {
    quote!(.stall_limit(::core::time::Duration::from_secs(#seconds)))
}

/// A literal that is a number of the type `N`.
fn number<N>(name: &Ident, value: Expr) -> syn::Result<LitInt>
where
    N: std::str::FromStr<Err: std::fmt::Display>,
{
    let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = value else {
        let text = format!("`{name}` is a whole number, as in `{name} = 1`");
        return Err(Error::new_spanned(value, text));
    };
    number.base10_parse::<N>()?;
    Ok(number)
}

fn is_virtual(value: Expr) -> syn::Result<bool> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &value {
        match text.value().as_str() {
            "virtual" => return Ok(true),
            "real" => return Ok(false),
            _ => {}
        }
    }
    Err(Error::new_spanned(value, "the clock is `\"real\"` or `\"virtual\"`"))
}
