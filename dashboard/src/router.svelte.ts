// The route of the page as state, and links that are followed without loading the page again.

import { addressOf, parsed, PREFIX, type Route } from "./router.ts"

class Router {
  route: Route = $state.raw(parsed(location.pathname, location.search))

  /** Read the address again: the browser went back or forward. */
  readonly read = (): void => {
    this.route = parsed(location.pathname, location.search)
  }

  /** Show another route. `replace`: without a step in the history, as while a slider moves. */
  go(route: Route, { replace = false } = {}): void {
    history[replace ? "replaceState" : "pushState"](null, "", addressOf(route))
    this.route = route
  }

  /** Follow a click on a link of the page itself; all others are left to the browser. */
  readonly follow = (event: MouseEvent): void => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return
    const link = event.target instanceof Element ? event.target.closest("a") : null
    if (link === null || link.origin !== location.origin || link.target !== "" || link.download !== "") return
    if (link.pathname !== "/" && link.pathname !== PREFIX && !link.pathname.startsWith(`${PREFIX}/`)) return
    if (link.hash !== "" && link.pathname === location.pathname) return
    event.preventDefault()
    history.pushState(null, "", link.href)
    this.read()
  }
}

export const router = new Router()
