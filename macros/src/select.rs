//! `select!`.

mod parse;
mod pattern;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Index};

use parse::{Branch, Select};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    match syn::parse2(input) {
        Ok(select) => write(&select),
        Err(error) => error.into_compile_error(),
    }
}

/// A name of ours: no word of the program can mean it.
fn own(text: &str) -> Ident {
    Ident::new(text, Span::mixed_site())
}

/// The names of what belongs to one branch.
struct Names {
    branch: Ident,
    guard: Ident,
    /// The variant of `__Won`, and the type of its value.
    variant: Ident,
    ty: Ident,
}

impl Names {
    fn of(index: usize) -> Names {
        let span = Span::mixed_site();
        Names {
            branch: format_ident!("branch_{index}", span = span),
            guard: format_ident!("guard_{index}", span = span),
            variant: format_ident!("Branch{index}", span = span),
            ty: format_ident!("T{index}", span = span),
        }
    }
}

fn write(select: &Select) -> TokenStream {
    let named: Vec<(&Branch, Names)> = { select.branches.iter().enumerate() }
        .map(|(index, branch)| (branch, Names::of(index)))
        .collect();
    let variants: Vec<_> = named.iter().map(|(_, names)| &names.variant).collect();
    let types: Vec<_> = named.iter().map(|(_, names)| &names.ty).collect();
    let guards = named.iter().filter_map(|(branch, Names { guard, .. })| {
        let condition = branch.guard.as_ref()?;
        Some(quote!(let #guard: bool = #condition;))
    });
    let won_value = own("won");
    let won = write_race(select.biased, &named);
    let arms = named.iter().map(|(branch, Names { variant, .. })| {
        let Branch { pattern, arm, .. } = branch;
        quote!(__Won::#variant(#pattern) => #arm,)
    });
    let otherwise = match &select.otherwise {
        Some(otherwise) => quote!(#otherwise),
        None => quote!(::trapline::__private::nothing_left()),
    };
    quote! {
        {
            enum __Won<#(#types),*> {
                #(#variants(#types),)*
                Nobody,
            }
            #(#guards)*
            let #won_value = #won;
            match #won_value {
                #(#arms)*
                __Won::Nobody => #otherwise,
                #[allow(unreachable_patterns)]
                _ => ::trapline::__private::matched_before(),
            }
        }
    }
}

/// The part in which the futures live: they are gone when it has its value.
fn write_race(biased: bool, named: &[(&Branch, Names)]) -> TokenStream {
    let (cx, alive, won) = (own("cx"), own("alive"), own("won"));
    let names: Vec<_> = named.iter().map(|(_, names)| &names.branch).collect();
    let futures = named.iter().map(|(branch, names)| write_future(branch, &names.guard));
    let polls = named.iter().map(|(branch, names)| write_poll(branch, names));
    let (order, poll_all) = if biased {
        (None, quote!(#(#polls)*))
    } else {
        let (order, branch) = (own("order"), own("branch"));
        let numbers = (0..named.len()).map(Index::from);
        let count = Index::from(named.len());
        let drawn = quote!(let #order = ::trapline::__private::order::<#count>(););
        let poll_all = quote! {
            for #branch in #order {
                match #branch {
                    #(#numbers => { #polls })*
                    _ => {}
                }
            }
        };
        (Some(drawn), poll_all)
    };
    quote! {
        match (#(#futures,)*) {
            (#(#names,)*) => {
                #(let mut #names = ::core::pin::pin!(#names);)*
                #order
                let #won = ::core::future::poll_fn(|#cx| {
                    let mut #alive = false;
                    #poll_all
                    if #alive {
                        ::core::task::Poll::Pending
                    } else {
                        ::core::task::Poll::Ready(__Won::Nobody)
                    }
                })
                .await;
                #won
            }
        }
    }
}

fn write_future(branch: &Branch, guard: &Ident) -> TokenStream {
    let future = &branch.future;
    let some = quote_spanned! {future.span()=>
        ::core::option::Option::Some(::core::future::IntoFuture::into_future(#future))
    };
    match branch.guard {
        None => some,
        Some(_) => quote!(if #guard { #some } else { ::core::option::Option::None }),
    }
}

fn write_poll(branch: &Branch, names: &Names) -> TokenStream {
    let (cx, alive, value, matches) = (own("cx"), own("alive"), own("value"), own("matches"));
    let (polled, won) = (own("polled"), own("won"));
    let Names { branch: name, variant, .. } = names;
    // At the place of the future: so are errors, and the lines of its calls.
    let poll = quote_spanned! {branch.future.span()=>
        ::trapline::__private::poll_branch(#name.as_mut(), #cx, &mut #alive)
    };
    let pattern = pattern::as_a_question(branch.pattern.clone());
    quote! {
        let #polled = #poll;
        if let ::core::task::Poll::Ready(#value) = #polled {
            let #won = __Won::#variant(#value);
            #[allow(unused_variables, unreachable_patterns)]
            let #matches = match &#won {
                __Won::#variant(#pattern) => true,
                _ => false,
            };
            if #matches {
                return ::core::task::Poll::Ready(#won);
            }
        }
    }
}
