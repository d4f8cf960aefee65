"""Messages as data: package → message → its fields, as `number name kind`, parted by commas.

A kind is a scalar's name (`enum` for any enumeration) or a message's, found in its own package first. After
it `*` means repeated and `@group` a member of that oneof; `K>V` is a map.
"""
