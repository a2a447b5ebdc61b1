import { mount } from "svelte"
import App from "./App.svelte"
import "./styles/tokens.css"
import "./styles/base.css"
import { theme } from "./theme.svelte.ts"
import { watchRendering } from "./watchdog.ts"

theme.apply()
const target = document.getElementById("app")
if (target === null) throw new Error("the page has no element #app")
const rendered = watchRendering()
// The page is set up in a task of its own, behind the one that has run all modules, so that neither holds the browser up for long.
setTimeout(() => {
  mount(App, { target, props: { rendered } })
})
