import { vitePreprocess } from "@sveltejs/vite-plugin-svelte"

/**
 * A warning of the compiler, most of them about accessibility, fails the build.
 * @param {import("svelte/compiler").Warning} warning
 * @returns {never}
 */
function onwarn(warning) {
  throw new Error(`${warning.filename ?? ""}: ${warning.message}`)
}

/** @type {import("@sveltejs/vite-plugin-svelte").SvelteConfig} */
export default { preprocess: vitePreprocess({ style: false }), compilerOptions: { runes: true }, onwarn }
