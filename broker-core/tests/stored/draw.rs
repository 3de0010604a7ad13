//! Draws a value of any type that can be read from bytes. Every variant of every enum in it is
//! drawn sooner or later, and which ones were is known.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    SeqAccess, VariantAccess, Visitor,
};

/// An enum's name and variants.
type Enum = (&'static str, &'static [&'static str]);

/// A source of values. The same ones each time.
pub(crate) struct Draw {
    state: u64,
    depth: usize,
    /// How deep the deepest value was nested.
    pub(crate) depth_max: usize,
    /// How often each variant of each enum was drawn.
    pub(crate) drawn: BTreeMap<Enum, Vec<u32>>,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, depth: 0, depth_max: 0, drawn: BTreeMap::new() }
    }

    /// A value, unless its type refuses what was drawn.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        T::deserialize(self).map_err(|error| error.to_string())
    }

    /// SplitMix64.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit as u64).unwrap()
    }

    /// Small, any, or at the end of the range.
    fn number(&mut self) -> u128 {
        match self.below(4) {
            0 => self.below(3) as u128,
            1 => u128::MAX,
            2 => u128::MAX >> 1,
            _ => u128::from(self.bits()) << 64 | u128::from(self.bits()),
        }
    }

    fn text(&mut self) -> String {
        let length = self.below(9);
        (0..length).map(|_| char::from(b' ' + self.below(95) as u8)).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.below(20);
        (0..length).map(|_| self.bits() as u8).collect()
    }

    /// Every other time the variant that was drawn least.
    fn variant(&mut self, of: Enum) -> usize {
        let any = self.below(2 * of.1.len());
        let drawn = self.drawn.entry(of).or_insert_with(|| vec![0; of.1.len()]);
        let least = (0..drawn.len()).min_by_key(|it| drawn[*it]).unwrap();
        let chosen = if any < drawn.len() { any } else { least };
        drawn[chosen] += 1;
        chosen
    }

    fn within<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
        let value = inner(self);
        self.depth -= 1;
        value
    }
}

/// Some elements, or fields.
struct Some<'a>(&'a mut Draw, usize);

impl<'de> SeqAccess<'de> for Some<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Option::Some(left) = self.1.checked_sub(1) else { return Ok(None) };
        self.1 = left;
        self.0.within(|draw| seed.deserialize(draw)).map(Option::Some)
    }
}

struct One<'a>(&'a mut Draw, usize);

impl<'de, 'a> EnumAccess<'de> for One<'a> {
    type Error = Error;
    type Variant = One<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let number = u32::try_from(self.1).unwrap();
        let variant: serde::de::value::U32Deserializer<Error> = number.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for One<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.0.within(|draw| seed.deserialize(draw))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Some(self.0, len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Some(self.0, fields.len()))
    }
}

fn refuse<T>(what: impl Display) -> Result<T, Error> {
    Err(Error::custom(format!("nothing stored is {what}")))
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number() as $type)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Draw {
    type Error = Error;

    numbers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.below(2) == 1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.below(2) {
            0 => visitor.visit_none(),
            _ => self.within(|draw| visitor.visit_some(draw)),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.within(|draw| visitor.visit_newtype_struct(draw))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = self.below(4);
        visitor.visit_seq(Some(self, length))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Some(self, len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Some(self, len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Some(self, fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = self.variant((name, variants));
        visitor.visit_enum(One(self, variant))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("of no known type")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("left out")
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("a name")
    }

    fn deserialize_char<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("a char")
    }

    fn deserialize_f32<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("a float")
    }

    fn deserialize_f64<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("a float")
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        refuse("a map")
    }
}
