// Light or dark: as the system says, or as the viewer chose on this device.

export const THEMES = ["system", "light", "dark"] as const
export type Theme = (typeof THEMES)[number]
const KEY = "theme"

class ThemeChoice {
  chosen: Theme = $state(stored())

  choose(theme: Theme): void {
    this.chosen = theme
    try {
      if (theme === "system") localStorage.removeItem(KEY)
      else localStorage.setItem(KEY, theme)
    } catch {
      // The browser keeps nothing for this page: the choice holds until it is closed.
    }
    this.apply()
  }

  apply(): void {
    const { dataset } = document.documentElement
    if (this.chosen === "system") delete dataset["theme"]
    else dataset["theme"] = this.chosen
  }
}

function stored(): Theme {
  try {
    const kept = localStorage.getItem(KEY)
    return THEMES.find((theme) => theme === kept) ?? "system"
  } catch {
    return "system"
  }
}

export const theme = new ThemeChoice()
