// Discord's ids are 64-bit numbers written as digits: too long for a JavaScript number, so they are compared as text.

/** Orders two ids by age. */
export function compareIds(a, b) {
  const [left, right] = [String(a), String(b)];
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}
