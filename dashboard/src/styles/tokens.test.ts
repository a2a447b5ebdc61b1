import { describe, expect, it } from "vitest"
import TEXT from "./tokens.css?raw"

const TOKENS = [...TEXT.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)]
const THEMES = ["light", "dark"] as const
const GROUNDS = ["ground", "surface", "raised"]
const WORDS = ["text", "quiet", "link", "call", "put", "none", "live", "delayed", "stale", "closed", "replay", "demo"]

function value(name: string, theme: (typeof THEMES)[number]): string {
  const token = TOKENS.find((found) => found[1] === name)
  return token?.[theme === "light" ? 2 : 3] ?? ""
}

/** Relative luminance (WCAG 2.2). */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const share = parseInt(hex.slice(at, at + 2), 16) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}

describe.each(THEMES)("in the %s theme", (theme) => {
  it.each(WORDS)("%s can be read on every ground", (name) => {
    for (const ground of GROUNDS)
      expect(contrast(value(name, theme), value(ground, theme)), ground).toBeGreaterThanOrEqual(4.5)
  })

  it.each(["focus", "edge"])("%s can be seen on every ground", (name) => {
    for (const ground of GROUNDS)
      expect(contrast(value(name, theme), value(ground, theme)), ground).toBeGreaterThanOrEqual(3)
  })
})
