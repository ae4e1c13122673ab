"""What a site publishes about few patients: one rule, through which every record passes before it leaves the site.

`evaluation.min_cell` of the plan is k; 0 publishes every figure as it was computed. Otherwise the number of patients of a part
(training, validation, test) decides what is published about its classes and scores:

- fewer than 10, or 2k: nothing;
- fewer than 50, or 10k: kappas, rounded to one decimal;
- more: every score rounded to two decimals, a confusion matrix without its small cells, and the training part's class counts.

No kappa is published as less than 0, because few matrices have a kappa near -1. Small counts are withheld together with zeros.
"""
