// Numbers that travel as bytes: 255 times a weight, packed into text.

/** Text in base64 to bytes. */
export function unpacked(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Rows of weights from 0 to 1: the map number `number` of many that lie one after the other. */
export function weightsAt(bytes, number, size) {
  const from = number * size * size;
  return Array.from({ length: size }, (_, t) =>
    Array.from({ length: size }, (_, s) => bytes[from + t * size + s] / 255),
  );
}

/** The same where a token sees no later one: the lower triangle alone travels, row by row. */
export function causalWeightsAt(bytes, number, size) {
  let at = (number * size * (size + 1)) / 2;
  return Array.from({ length: size }, (_, t) =>
    Array.from({ length: size }, (_, s) => (s <= t ? bytes[at++] / 255 : null)),
  );
}
