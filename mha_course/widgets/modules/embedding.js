// Vectors for a sentence, as mha_course.widgets.one_head makes them. A test compares the two.

/** Cut a sentence at its spaces, and take punctuation off the words. */
export function words(sentence, edges) {
  return sentence.split(/\s+/).map((part) => stripped(part, edges)).filter(Boolean);
}

function stripped(word, edges) {
  const letters = [...word];
  let [start, end] = [0, letters.length];
  while (start < end && edges.includes(letters[start])) start += 1;
  while (end > start && edges.includes(letters[end - 1])) end -= 1;
  return letters.slice(start, end).join("");
}

/** Sixteen signs that depend on the word alone, whatever its case. */
export function signs(word) {
  const value = hash(word.toLowerCase());
  return Array.from({ length: 16 }, (_, i) => ((value >>> i) & 1 ? 1 : -1));
}

/** 32 bits: FNV-1a, stirred as in MurmurHash3. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    value = Math.imul(value ^ byte, 0x01000193);
  }
  for (const [shift, factor] of [
    [16, 0x85ebca6b],
    [13, 0xc2b2ae35],
  ]) {
    value = Math.imul(value ^ (value >>> shift), factor);
  }
  return value ^ (value >>> 16);
}

/** Vectors of the tokens, [T][64]: signs, the waves of the place, ones, and the length. */
export function embedded(tokens, { waves, per_letter: perLetter }) {
  return tokens.map((token, place) => [
    ...signs(token),
    ...waves[place],
    ...Array(16).fill(1),
    ...Array(16).fill(perLetter * lettersIn(token)),
  ]);
}

/** How long a word is. */
export function lettersIn(word) {
  return [...word].length;
}

/** A matrix of size × size from its entries [row, column, value]; the others are 0. */
export function matrixOf(entries, size) {
  const matrix = Array.from({ length: size }, () => Array(size).fill(0));
  for (const [row, column, value] of entries) matrix[row][column] = value;
  return matrix;
}
