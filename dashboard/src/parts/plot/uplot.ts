// uPlot with its styles, in a file of its own, which the page loads with the first chart.
import "uplot/dist/uPlot.min.css"
export { default as Chart } from "uplot"
