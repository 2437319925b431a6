//! `traced`.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, ItemFn, Pat, PatIdent, ReceiverKind, ReturnType, Safety, Signature, TraitItemFn,
    Type,
};

pub(crate) fn expand(options: TokenStream, function: TokenStream) -> TokenStream {
    // What is no function yet is handed on as it is: an editor is in the midst of it.
    let parsed: ItemFn = match syn::parse2(function.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = without_body(&function).unwrap_or(error).into_compile_error();
            return quote!(#error #function);
        }
    };
    match check(&options, &parsed) {
        Ok(()) => wrap(parsed),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #function)
        }
    }
}

/// The error for a function of a trait that has no body.
fn without_body(function: &TokenStream) -> Option<Error> {
    let declared: TraitItemFn = syn::parse2(function.clone()).ok()?;
    declared.default.is_none().then(|| {
        let text =
            "`#[trapline::traced]` goes where the body is: put it on the function of each `impl`";
        Error::new_spanned(&declared.sig, text)
    })
}

/// Refuses what has no frame, at the word that is wrong.
fn check(options: &TokenStream, function: &ItemFn) -> syn::Result<()> {
    let sig = &function.sig;
    if !options.is_empty() {
        return Err(Error::new_spanned(options, "`#[trapline::traced]` has no options"));
    }
    if let Some(constness) = sig.constness {
        let text = "`#[trapline::traced]` is for what waits, and a `const fn` cannot";
        return Err(Error::new_spanned(constness, text));
    }
    if !matches!(sig.safety, Safety::Default) {
        let text =
            "`#[trapline::traced]` is not for an `unsafe fn`: its future could be polled anywhere";
        return Err(Error::new_spanned(&sig.safety, text));
    }
    if let Some(abi) = &sig.abi {
        let text = "`#[trapline::traced]` is not for an `extern fn`: other languages do not await";
        return Err(Error::new_spanned(abi, text));
    }
    if sig.asyncness.is_none() {
        let text = format!(
            "`#[trapline::traced]` is for an `async fn`: in `{}`, wrap the future in `trapline::frame`",
            sig.ident
        );
        return Err(Error::new_spanned(sig.fn_token, text));
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && matches!(**ty, Type::Never(_))
    {
        let text = "`#[trapline::traced]` cannot name `!`: return `std::convert::Infallible`";
        return Err(Error::new_spanned(ty, text));
    }
    Ok(())
}

fn wrap(function: ItemFn) -> TokenStream {
    let ItemFn { attrs, vis, mut sig, block, .. } = function;
    let attrs = attrs.into_iter().filter(|attribute| !attribute.path().is_ident("track_caller"));
    let keeps = keep_arguments(&mut sig);
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    };
    let hint = hint(&output);
    sig.asyncness = None;
    sig.output = syn::parse_quote!(-> impl ::core::future::Future<Output = #output>);
    let statements = &block.stmts;
    // The body has the place of the function's own braces: what is said of them is said there.
    let body = quote_spanned!(block.span()=> async move { #hint #keeps #(#statements)* });
    quote! {
        #(#attrs)*
        #[track_caller]
        #vis #sig {
            ::trapline::frame_at(#body, ::core::panic::Location::caller())
        }
    }
}

/// What makes the block own every argument until its end, as an `async fn` does, and the patterns be
/// taken apart only when it is polled.
fn keep_arguments(sig: &mut Signature) -> TokenStream {
    let mut keeps = TokenStream::new();
    for (index, argument) in sig.inputs.iter_mut().enumerate() {
        match argument {
            FnArg::Receiver(receiver) if matches!(receiver.kind, ReceiverKind::Reference(..)) => {}
            FnArg::Receiver(receiver) => {
                let this = receiver.self_token;
                keeps.extend(quote!(let _ = &#this;));
            }
            FnArg::Typed(argument) => {
                let pattern = (*argument.pat).clone();
                // What is said of the name is said of what the body sees; whether it is there, of both.
                let attrs = argument.attrs.clone();
                argument.attrs.retain(|attribute| attribute.path().is_ident("cfg"));
                let conditions = argument.attrs.clone();
                let name = match &pattern {
                    Pat::Ident(PatIdent { by_ref: None, subpat: None, ident, .. }) => ident.clone(),
                    // Of a place of its own, so that no name of the program is hidden.
                    _ => {
                        let name = format_ident!("argument_{index}", span = Span::mixed_site());
                        keeps.extend(quote!(#(#conditions)* let #name = #name;));
                        name
                    }
                };
                *argument.pat = Pat::Ident(PatIdent {
                    attrs: Vec::new(),
                    by_ref: None,
                    mutability: None,
                    ident: name.clone(),
                    subpat: None,
                });
                keeps.extend(quote! {
                    #(#attrs)*
                    #[allow(clippy::redundant_locals)]
                    let #pattern = #name;
                });
            }
        }
    }
    keeps
}

/// Names the type of the block, so that `?` and `return` in it know where they lead to. One that has an
/// `impl` in it cannot be named, and is found out.
fn hint(output: &TokenStream) -> TokenStream {
    if has_impl(output.clone()) {
        return TokenStream::new();
    }
    quote! {
        #[allow(clippy::all, clippy::pedantic, clippy::restriction, unreachable_code, unused)]
        if false {
            let never: #output = loop {};
            return never;
        }
    }
}

fn has_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => has_impl(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
