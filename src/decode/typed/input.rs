//! What a format has to offer so that its values become rows.

use super::{Fault, Schema, Type, TypeId, Typed};

/// A value that is read, with what it holds.
pub(crate) trait Input: Sized {
    /// Whether each field of a record comes once, as its schema says.
    const ORDERED: bool;

    /// The type of the value, which is of this type of the schema's: of a union the branch that it is of.
    fn branch<'s>(&mut self, schema: &'s Schema, id: TypeId) -> Result<&'s Type, Fault>;

    /// The value, which is of this type and holds no others; [`Type::Null`] is none of these.
    fn scalar<R, E: From<Fault>>(&mut self, kind: &Type, take: impl FnOnce(Typed<'_>) -> Result<R, E>) -> Result<R, E>;

    /// Each element of an array. `empty`: one may take no byte.
    fn elements<E: From<Fault>>(&mut self, empty: bool, take: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E>;

    /// Each key of a map, with its value.
    fn entries<E: From<Fault>>(&mut self, take: impl FnMut(&str, &mut Self) -> Result<(), E>) -> Result<(), E>;

    /// Each field of a record that has `count` of them, of these names: its index, and its value. Answers how many there
    /// were: a format may leave out what is null.
    fn fields<'n, E: From<Fault>>(
        &mut self,
        count: usize,
        name: impl Fn(usize) -> &'n str,
        take: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<usize, E>;

    /// Reads over the value.
    fn skip(&mut self, schema: &Schema, id: TypeId) -> Result<(), Fault>;
}
