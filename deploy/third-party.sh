#!/usr/bin/env bash
# What the binary is made of that is not kinetail's, with the terms that it comes under: every crate that is linked, and the texts of its licence, each
# once. The image has it as /licenses/THIRD-PARTY.txt.gz, a tenth of its size. To have it by itself, from the root of the repository:
#
#     deploy/third-party.sh [TARGET] > THIRD-PARTY.txt        # by default for x86_64-unknown-linux-gnu
#
# Needs cargo, which fetches what is not there yet, and nothing beyond bash and coreutils. What has no text of its own is named.
set -euo pipefail
export LC_ALL=C

target=${1:-x86_64-unknown-linux-gnu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The crates that are linked: neither what only builds or tests it, nor what other platforms need.
cargo fetch --locked --quiet --target "$target"
cargo tree --locked --offline --edges normal,no-proc-macro --target "$target" --prefix none --no-dedupe --format '{p}|{l}' |
  sed -e 's/ (\*)$//' -e 's/ (proc-macro)//' | sort -u | grep -v '^kinetail v' >"$work/crates"
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

mkdir "$work/texts"
while IFS='|' read -r crate licence; do
  name=${crate%% *} version=${crate##* v}
  folder=$(find "$registry" -mindepth 2 -maxdepth 2 -type d -name "$name-$version" | head -n 1)
  printf '%s %s: %s\n' "$name" "$version" "$licence" >>"$work/list"
  # Sources in C bring texts in folders of their own.
  find "${folder:?no source of $name $version in $registry}" -maxdepth 3 -type f \
    \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'copyright*' -o -iname 'unlicense*' \) \
    -not -iname '*.rs' -not -iname '*.toml' -not -path '*/tests/*' | sort >"$work/found"
  [ -s "$work/found" ] || printf '%s %s: %s\n' "$name" "$version" "$licence" >>"$work/without"
  while read -r file; do
    # The same text counts as the same whatever its line ends and indents are.
    sum=$(tr -s '[:space:]' ' ' <"$file" | sha256sum)
    sum=${sum%% *}
    [ -e "$work/texts/$sum" ] || tr -d '\r' <"$file" >"$work/texts/$sum"
    printf '%s %s\n' "$name" "$version" >>"$work/texts/$sum.crates"
  done <"$work/found"
done <"$work/crates"

cat <<END
kinetail is under the Apache License 2.0 (LICENSE). Its binary for $target has parts of others, which are listed here with their terms.

Linked statically besides: the standard library of Rust (MIT OR Apache-2.0, https://github.com/rust-lang/rust), and in the image the GNU C Library
(LGPL-2.1-or-later, https://www.gnu.org/software/libc/). With kinetail's source and its Dockerfile the binary can be linked with another one.

END
cat "$work/list"
if [ -e "$work/without" ]; then
  printf '\nWithout a text of their own, and so by the texts of these licences below:\n\n'
  sort -u "$work/without"
fi
for text in "$work"/texts/*.crates; do
  printf '\n%s\n%s\n\n' "$(printf -- '-%.0s' {1..120})" "$(sort -u "$text" | paste -s -d ',' | sed 's/,/, /g')"
  cat "${text%.crates}"
done
