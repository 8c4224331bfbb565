-- What a call buys has a name apart from the form that is handed out.

ALTER TABLE bought_results RENAME COLUMN return_form TO bought_form;
ALTER TABLE bought_results
    RENAME CONSTRAINT ck_bought_results_return_form_is_known TO ck_bought_results_bought_form_is_known;
ALTER TABLE bought_results
    RENAME CONSTRAINT bought_results_return_form_not_null TO bought_results_bought_form_not_null;
