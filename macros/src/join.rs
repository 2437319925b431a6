//! `join!` and `try_join!`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, Token};

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Join,
    TryJoin,
}

struct Futures(Vec<Expr>);

impl Parse for Futures {
    fn parse(input: ParseStream<'_>) -> syn::Result<Futures> {
        if input.is_empty() {
            return Err(Error::new(Span::call_site(), "there is nothing to join"));
        }
        let futures = Punctuated::<Expr, Token![,]>::parse_terminated(input)?;
        Ok(Futures(futures.into_iter().collect()))
    }
}

pub(crate) fn expand(kind: Kind, input: TokenStream) -> TokenStream {
    let futures = match syn::parse2(input) {
        Ok(Futures(futures)) => futures,
        Err(error) => return error.into_compile_error(),
    };
    // Names of ours: no word of the program can mean them.
    let own = |text: &str| Ident::new(text, Span::mixed_site());
    let (cx, all, error, outputs) = (own("cx"), own("all"), own("error"), own("outputs"));
    let names: Vec<Ident> = (0..futures.len())
        .map(|index| format_ident!("future_{index}", span = Span::mixed_site()))
        .collect();
    // What is said of a future stands at its place: so do errors, and the lines of its calls.
    let made = futures.iter().map(
        |future| quote_spanned!(future.span()=> ::trapline::__private::MaybeDone::new(#future)),
    );
    let polls = futures.iter().zip(&names).map(|(future, name)| {
        let place = future.span();
        match kind {
            Kind::Join => quote_spanned!(place=> #all &= #name.as_mut().poll_done(#cx);),
            Kind::TryJoin => {
                let poll = quote_spanned!(place=> #name.as_mut().poll_try(#cx));
                quote! {
                    match #poll {
                        ::core::task::Poll::Ready(::core::result::Result::Ok(())) => {}
                        ::core::task::Poll::Ready(::core::result::Result::Err(#error)) => {
                            return ::core::task::Poll::Ready(::core::result::Result::Err(#error));
                        }
                        ::core::task::Poll::Pending => #all = false,
                    }
                }
            }
        }
    });
    let taken = match kind {
        Kind::Join => quote!((#(#names.as_mut().take(),)*)),
        Kind::TryJoin => quote!(::core::result::Result::Ok((#(#names.as_mut().take_ok(),)*))),
    };
    quote! {
        match (#(#made,)*) {
            (#(#names,)*) => {
                #(let mut #names = ::core::pin::pin!(#names);)*
                let #outputs = ::core::future::poll_fn(|#cx| {
                    let mut #all = true;
                    #(#polls)*
                    if !#all {
                        return ::core::task::Poll::Pending;
                    }
                    ::core::task::Poll::Ready(#taken)
                })
                .await;
                #outputs
            }
        }
    }
}
