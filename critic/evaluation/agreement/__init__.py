"""How far people agree, and what each annotator's labels are worth: figures of labels, and a page of them."""
