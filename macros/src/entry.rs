//! `main` and `test`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Attribute, Error, ItemFn, ReturnType, Type};

use crate::options::Options;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Main,
    Test,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Main => "#[trapline::main]",
            Kind::Test => "#[trapline::test]",
        }
    }
}

pub(crate) fn expand(kind: Kind, options: TokenStream, function: TokenStream) -> TokenStream {
    // What is no function yet is handed on as it is: an editor is in the midst of it.
    let parsed: ItemFn = match syn::parse2(function.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #function);
        }
    };
    let options = check(kind, &parsed).and_then(|()| syn::parse2(options));
    match options {
        Ok(options) => wrap(kind, &options, parsed),
        Err(error) => stand_in(error, parsed),
    }
}

/// Refuses what cannot be a program or a test, at the word that is wrong.
fn check(kind: Kind, function: &ItemFn) -> syn::Result<()> {
    let (sig, name) = (&function.sig, kind.name());
    if sig.asyncness.is_none() {
        let text = format!("`{name}` is for an `async fn`: write `async fn {}()`", sig.ident);
        return Err(Error::new_spanned(sig.fn_token, text));
    }
    if !sig.generics.params.is_empty() {
        let text = format!("a function with `{name}` has no generics: nobody would choose them");
        return Err(Error::new_spanned(&sig.generics, text));
    }
    if !sig.inputs.is_empty() {
        let text = format!("a function with `{name}` has no arguments: nobody would give them");
        return Err(Error::new_spanned(&sig.inputs, text));
    }
    let is_test = |attribute: &&Attribute| attribute.path().is_ident("test");
    if let (Kind::Test, Some(test)) = (kind, function.attrs.iter().find(is_test)) {
        let text = "`#[trapline::test]` makes it a test by itself: leave this out";
        return Err(Error::new_spanned(test, text));
    }
    Ok(())
}

fn wrap(kind: Kind, options: &Options, function: ItemFn) -> TokenStream {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let mut outer = sig.clone();
    outer.asyncness = None;
    let name = &sig.ident;
    // The call has the place of the function's name: so the task is shown as spawned there.
    let place = name.span();
    if kind == Kind::Main {
        let builder = options.builder_of_main();
        let run = quote_spanned!(place=> ::trapline::__private::run_main(#builder, #name()));
        return quote! {
            #(#attrs)*
            #vis #outer {
                #sig #block
                #run
            }
        };
    }
    let builder = options.builder_of_test();
    let run = quote_spanned!(place=> ::trapline::__private::run_test(#builder, #name()));
    // `#[should_panic]` wants a function that returns nothing.
    let run = if gives_nothing(&outer.output) {
        quote!(let _ = #run;)
    } else {
        outer.output = syn::parse_quote!(-> ::std::process::ExitCode);
        run
    };
    quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis #outer {
            #sig #block
            #run
        }
    }
}

/// The error, and a function of that name, so that nothing else complains that there is none.
fn stand_in(error: Error, mut function: ItemFn) -> TokenStream {
    let error = error.into_compile_error();
    function.attrs.retain(|attribute| !attribute.path().is_ident("test"));
    if function.sig.ident == "main" {
        return quote!(#error fn main() {});
    }
    quote!(#error #[allow(unused)] #function)
}

fn gives_nothing(output: &ReturnType) -> bool {
    match output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()),
    }
}
