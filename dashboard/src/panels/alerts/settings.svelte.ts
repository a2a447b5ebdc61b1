// How the viewer wants to hear of new decisions. It is kept on this device.

const KEY = "alerts"

export interface AlertChoice {
  readonly notify: boolean
  readonly sound: boolean
  /** Only of decisions to buy. */
  readonly tradesOnly: boolean
}

const NONE: AlertChoice = { notify: false, sound: false, tradesOnly: false }

class AlertSettings {
  choice: AlertChoice = $state.raw(stored())

  choose(changes: Partial<AlertChoice>): void {
    this.choice = { ...this.choice, ...changes }
    try {
      localStorage.setItem(KEY, JSON.stringify(this.choice))
    } catch {
      // The browser keeps nothing for this page: the choice holds until it is closed.
    }
  }
}

function stored(): AlertChoice {
  try {
    return parsedChoice(localStorage.getItem(KEY))
  } catch {
    return NONE
  }
}

/** The choice that a text holds; whatever is no choice is off. */
export function parsedChoice(text: string | null): AlertChoice {
  let value: unknown = null
  try {
    value = JSON.parse(text ?? "null")
  } catch {
    return NONE
  }
  if (typeof value !== "object" || value === null) return NONE
  const chosen = value as Record<string, unknown>
  const isOn = (name: string): boolean => chosen[name] === true
  return { notify: isOn("notify"), sound: isOn("sound"), tradesOnly: isOn("tradesOnly") }
}

export const alerts = new AlertSettings()
