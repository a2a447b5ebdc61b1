import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vitest/config"
import { precompress } from "./precompress.ts"

/** The server that `npm run dev` asks. */
const SERVER = process.env["SERVER"] ?? "http://127.0.0.1:8000"
const PROXIED = ["/v2", "/docs", "/openapi.json", "/livez", "/readyz", "/health", "/socket.io"]

export default defineConfig(({ mode }) => ({
  plugins: [svelte(), precompress()],
  cacheDir: "../var/dashboard",
  build: {
    outDir: "dist",
    target: "es2022",
    // The policy of the page allows nothing inline, pictures included.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // The library of the charts is a file of its own, which is loaded once a chart is shown.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [{ name: "lightweight-charts", test: /node_modules[\\/](lightweight-charts|fancy-canvas)/ }],
        },
      },
    },
  },
  server: {
    host: "127.0.0.1",
    // The packages may be linked from another folder.
    fs: { strict: false },
    // Socket.IO answers pages of the server's own origin alone.
    proxy: Object.fromEntries(
      PROXIED.map((path) => [path, { target: SERVER, changeOrigin: true, ws: true, headers: { origin: SERVER } }]),
    ),
  },
  ...(mode === "test" ? { resolve: { conditions: ["browser"] } } : {}),
  // Most of the time of a small test goes into an environment and modules of its own: a file that needs a document says so in its
  // first line, and all files of a worker share the modules.
  test: {
    pool: "threads",
    isolate: false,
    include: ["src/**/*.test.ts"],
    css: { include: /tokens/ },
    restoreMocks: true,
    unstubGlobals: true,
  },
}))
