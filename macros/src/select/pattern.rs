//! Patterns as questions: whether a value matches, asked without taking the value apart.

use std::mem;

use proc_macro2::TokenStream;
use syn::{Pat, PatIdent};

/// The pattern for a reference to the value: it matches the same values, and binds nothing but by
/// reference.
///
/// Matched through a reference, every binding is one by reference already, and Rust allows no `mut`,
/// `ref` or `&` beside it. (A word alone cannot be made a `_`: it may be a constant.)
pub(crate) fn as_a_question(mut pattern: Pat) -> Pat {
    simplify(&mut pattern);
    pattern
}

fn simplify(pattern: &mut Pat) {
    match pattern {
        Pat::Ident(PatIdent { subpat: Some((_, inner)), .. }) => *pattern = simplified(inner),
        Pat::Reference(reference) => *pattern = simplified(&mut reference.pat),
        Pat::Ident(ident) => (ident.by_ref, ident.mutability) = (None, None),
        Pat::Paren(paren) => simplify(&mut paren.pat),
        Pat::Or(or) => or.cases.iter_mut().for_each(simplify),
        Pat::Slice(slice) => slice.elems.iter_mut().for_each(simplify),
        Pat::Tuple(tuple) => tuple.elems.iter_mut().for_each(simplify),
        Pat::TupleStruct(tuple) => tuple.elems.iter_mut().for_each(simplify),
        Pat::Struct(whole) => {
            whole.fields.iter_mut().for_each(|field| simplify(&mut field.pat));
        }
        _ => {}
    }
}

/// Takes a part out of a pattern, to stand for the whole.
fn simplified(part: &mut Pat) -> Pat {
    as_a_question(mem::replace(part, Pat::Verbatim(TokenStream::new())))
}
