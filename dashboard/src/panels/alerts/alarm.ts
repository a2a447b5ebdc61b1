// Notifications of the browser, and a sound that the page makes itself.

import type { TradingSignal } from "../../live/types.ts"
import { details, headline } from "./sentence.ts"
import type { AlertChoice } from "./settings.svelte.ts"

export type Permission = "granted" | "denied" | "default" | "unsupported"

export function permission(): Permission {
  return "Notification" in globalThis ? Notification.permission : "unsupported"
}

/** Ask the viewer. */
export async function askPermission(): Promise<Permission> {
  if (permission() !== "default") return permission()
  return Notification.requestPermission()
}

/** Whether the viewer wants to hear of this decision. */
export function isWanted({ action }: TradingSignal, { notify, sound, tradesOnly }: AlertChoice): boolean {
  return (notify || sound) && !(tradesOnly && action === "NO_TRADE")
}

/** Tell of a decision in the ways that were chosen. */
export function alarm(signal: TradingSignal, choice: AlertChoice): void {
  if (!isWanted(signal, choice)) return
  if (choice.notify) notify(headline(signal), details(signal), `${signal.ticker} signal`)
  if (choice.sound) beep()
}

/** Show a notification, in place of an earlier one with the same tag. Where the browser shows none, nothing happens: the page says it. */
export function notify(title: string, body: string, tag: string): void {
  if (permission() !== "granted") return
  try {
    const notification = new Notification(title, { body, tag })
    notification.onclick = () => {
      window.focus()
      notification.close()
    }
  } catch {
    // Some browsers of phones show notifications of service workers alone.
  }
}

const TONES_HZ = [660, 880] as const
const TONE_S = 0.16
let audio: AudioContext | undefined

/** Two short tones. Browsers make no sound before the viewer has done something on the page. */
export function beep(): void {
  if (!("AudioContext" in globalThis)) return
  audio ??= new AudioContext()
  void audio.resume()
  const gain = audio.createGain()
  gain.gain.value = 0.15
  gain.connect(audio.destination)
  for (const [index, frequency] of TONES_HZ.entries()) {
    const tone = audio.createOscillator()
    tone.frequency.value = frequency
    tone.connect(gain)
    tone.start(audio.currentTime + index * TONE_S)
    tone.stop(audio.currentTime + (index + 1) * TONE_S)
  }
}
