// When to try again. Pure.

const FIRST_MS = 500
const LONGEST_MS = 10_000

/** The delay before attempt `count` (from 0): it doubles up to 10 s, and differs between clients by up to half (`random`: 0 to 1). */
export function delayMs(count: number, random: number): number {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(count, 10))
  return Math.round(longest * (0.5 + random / 2))
}
