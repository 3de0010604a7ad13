# To be sourced: sources of other projects from crates.io, below "$folder".

# Sources as they were published: crate and version.
fetch() {
    [ ! -d "$folder/$1" ] || return 0
    mkdir -p "$folder/sources/src"
    touch "$folder/sources/src/lib.rs"
    printf '[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[dependencies]\n"%s" = "=%s"\n' \
        "$1" "$2" > "$folder/sources/Cargo.toml"
    rm -f "$folder/sources/Cargo.lock"
    cargo fetch --quiet --manifest-path "$folder/sources/Cargo.toml"
    cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$1-$2" "$folder/$1"
    chmod -R u+w "$folder/$1"
    # Not a part of this workspace.
    printf '\n[workspace]\n' >> "$folder/$1/Cargo.toml"
}

# librdkafka, built without what nobody here uses, in "$folder/rdkafka-sys/librdkafka".
librdkafka_sources() {
    fetch rdkafka-sys "4.10.0+2.12.1"
    (cd "$folder/rdkafka-sys/librdkafka" &&
        { [ -e Makefile.config ] || ./configure --disable-ssl --disable-sasl --disable-curl; } &&
        make -j2 libs) > "$folder/librdkafka.build" 2>&1
}
