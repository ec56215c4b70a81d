// What heads cost, in closed form, as mha_course.counting counts it. A test compares the two.
// A shape is { dModel, heads, kvHeads, dHead }: keys and values are equally wide, without biases.

/** Parameters of W_Q, W_K, W_V and W_O of one layer. */
export function attentionParameters({ dModel, heads, kvHeads, dHead }) {
  return 2 * dModel * (heads + kvHeads) * dHead;
}

/**
 * FLOPs of one layer for `tokens` new tokens after `cached` ones; a multiply-add counts as two.
 * Masked scores are counted, too.
 */
export function attentionFlops({ dModel, heads, kvHeads, dHead }, tokens, cached = 0) {
  const keys = tokens + cached;
  const projections = 4 * tokens * dModel * (heads + kvHeads) * dHead;
  return projections + 4 * tokens * keys * heads * dHead;
}

/** Bytes of the scores of one layer, if they are all kept at once. */
export function scoreBytes(heads, tokens, bytes) {
  return heads * tokens * tokens * bytes;
}

/** Bytes of the keys and values of one text, in one layer. */
export function cacheBytes({ kvHeads, dHead }, tokens, bytes) {
  return 2 * kvHeads * dHead * tokens * bytes;
}

/** All the divisors of n, up to `most`. */
export function divisors(n, most = n) {
  return Array.from({ length: Math.min(n, most) }, (_, i) => i + 1).filter((d) => n % d === 0);
}
